"""Model architectures and the pretrained encoders that the chapters start from."""
