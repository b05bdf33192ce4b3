"""Stands in for setuptools while pip downloads Caffe's source archive.

Before pip saves a source archive it has setuptools ask the archive's own setup.py what the archive is. With this on
the path the answer comes from the archive's PKG-INFO, and nothing of the archive is run.
"""
