"""What the tests of this folder ask of a picture's file."""


def only(path):
    """There is this file in its folder and no other."""
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path
