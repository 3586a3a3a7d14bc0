"""Tests of the dialplan: the language, its compiler and its interpreter."""
