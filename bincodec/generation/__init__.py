"""Draw codes from the prior: samplers, schedules, guidance, inpainting, variation and completion."""
