"""Networks of other projects read here, and ours written for them.

    diffusers_unet.py       a UNet2DModel of Hugging Face's diffusers as a U-Net of ours, and back
    diffusers_config.py     its options;  diffusers_tensors.py: its tensors
    diffusers_files.py      which files of a folder hold them
    diffusers_scheduler.py  the noise schedule beside it, and what the network predicts
    imported.py             an imported network, made again from a checkpoint
    torch_random.py         PyTorch's random numbers and initial weights, without PyTorch

Nothing here runs code from a file that it reads, and nothing needs PyTorch or diffusers. This room
imports `nn` and `more`, and no other.
"""
