"""Images, half-way and back: diffusion models, the forward-backward experiment, the layer probe, data, training.

Needs the extra ``hierlib[book]`` (diffusers, torchvision, safetensors). Images are uint8 tensors (n, channels,
height, width) everywhere outside the diffusion models.
"""

import hierlib._torchvision  # noqa: F401  (before torchvision and diffusers, which import it)
