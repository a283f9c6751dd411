"""A refresher on convolutional networks, told with our own pictures and numbers: README.md beside this file.

`python -m cnn.refresher` measures, draws and writes it again from the trained models that ship with the package.
"""
