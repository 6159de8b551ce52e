"""The interactive page that `tinyddpm explore RUN` serves to a browser on this machine.

    explorer.py     what is shown, computed: two denoisers side by side, one training step
    chain.py        a reverse chain that can be steered
    inputs.py       what a browser sends, made safe: strokes as an image, values as numbers
    drawing.py      arrays as PNGs, and the graph and curves as SVG
    words.py        the captions
    server.py       who may ask for the page
    page.py         the page; its tabs are in *_tab.py, what they share in parts.py and player.py

Only the last two lines need NiceGUI, the extra `explore`. This room imports `fast`, `runs` and
`pictures`.
"""
