"""A learned photo codec. It turns photographs into small `.bld` files, and its models can draw new pictures.

The public names are listed in `__init__.pyi`. They are loaded when they are first used, so that
`import bincodec` and `read_header` need neither torch nor a model. After this import, Pillow can open and
save `.bld` files.
"""

import lazy_loader

from bincodec import _process as _process
from bincodec import _registration

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

_registration.register()
