"""The page that `cnn explain --html` writes: build.py puts it together out of the files beside it."""
