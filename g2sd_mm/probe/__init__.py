"""What frozen features are worth, without training the network that gives them.

``measures`` are functions of features and labels alone; ``encoders`` finds the
features of a network, ``data`` the images, ``extract`` keeps what was computed on disk, and ``run``
is the command's function.
"""
