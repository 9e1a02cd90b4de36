"""A learned photo codec: photographs in, small `.bld` files out, and new pictures from the same model.

The public names stand in `__init__.pyi`. They are loaded on first use, so that `import bincodec` and
`read_header` need neither torch nor a model. Pillow opens and saves `.bld` files from here on.
"""

import lazy_loader

from bincodec import _process as _process
from bincodec import _registration

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

_registration.register()
