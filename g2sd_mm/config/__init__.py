"""Read a config and find things in it: files, classes, data sets, named parts."""
