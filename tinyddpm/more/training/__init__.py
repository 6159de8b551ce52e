"""Other ways to train than the lecture's: measured multipliers, optimisers and augmentation.

Measured multipliers and optimisers plug into `train` as its argument `update`, augmentation as
`gradient`.
"""
