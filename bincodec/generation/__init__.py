"""New codes from the prior: samplers and their schedules, guidance, inpainting, variation, completion."""
