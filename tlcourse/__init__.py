"""Companion package of the executable book *Transfer Learning and Pretrained Models*."""
