"""Networks small enough for tests."""

from hsivi.nn.unet import StackedUNet


def tiny_unet(seeds: tuple[int, ...]) -> StackedUNet:
    return StackedUNet(seeds, image_size=8, image_channels=1, channels=(8, 16), layers_per_block=1, norm_groups=4)
