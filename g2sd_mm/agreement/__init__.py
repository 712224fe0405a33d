"""Do weights, config and data mean the same? Class names, image sizes, normalisation."""
