"""Finding the ultrasound image in a picture, so that the rest can be painted black."""

from echoviewclip.datasets.sector.mask import MOSTLY_IMAGE, Finding, find_image, image_mask

__all__ = ["MOSTLY_IMAGE", "Finding", "find_image", "image_mask"]
