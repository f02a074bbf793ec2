"""Drawings of sounds, features and sets: the folder of `features` that imports matplotlib, and only when it draws."""
