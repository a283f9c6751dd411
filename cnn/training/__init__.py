"""How a network is trained, apart from the formulas: nobody has to read this to understand the network.

batches.py checks what comes in; step.py runs one batch, cut into shards, and one step of the optimizer; fit.py goes
through the epochs and calls the callbacks; run.py knows how far it has come; twin.py is the fast form of the layers.
"""
