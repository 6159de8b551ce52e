"""Other ways to train than the lecture's: optimisers and augmentation.

An optimiser plugs into `train` as its argument `update`, augmentation as `gradient`.
"""
