"""The interactive page that `tinyddpm explore RUN` serves to a browser on this machine.

    explorer.py     what is shown, computed: denoisers side by side, a chain that can be steered, one training step, strokes as an image
    drawing.py      arrays as PNGs, and the graph and curves as SVG
    words.py        the captions
    server.py       who may ask for the page
    page.py         the page; its four tabs stand in *_tab.py, what they share in parts.py and player.py

Only the last two lines need NiceGUI, the extra `explore`.
"""
