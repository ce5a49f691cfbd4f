"""The interactive viewer: :func:`walkaround.viewer.session.open_session` and what it is made of.

``places`` finds what to show; ``world``, ``clouds``, ``pictures``, ``hull``, ``measure`` say what is shown
and what a click means, without viser; ``window`` draws it with viser; ``gateway`` lets a browser in.
"""
