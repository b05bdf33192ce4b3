"""Caffe's prototxt files: read, upgraded, filtered and set up as Caffe does it, and written back."""
