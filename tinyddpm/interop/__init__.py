"""Networks of other projects, here; and ours, there.

    diffusers_unet.py       a folder of Hugging Face's diffusers (a UNet2DModel) as a U-Net of ours, and back
    diffusers_scheduler.py  the noise schedule beside it, and what the network was taught to predict
    torch_random.py         PyTorch's random numbers and initial weights, without PyTorch, to compare with what others published
    commands.py             `tinyddpm import` and `tinyddpm export`

Nothing here runs code from a file that it reads, and none of it needs PyTorch or diffusers.
"""
