"""What tests are written with: toy models and data, small configs, short runs, odd files."""
