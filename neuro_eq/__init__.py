"""Equilibrium networks trained by equilibrium propagation, the same on every engine.

    import neuro_eq as ne

    spec = ne.models.layered_hopfield([64, 128, 10])
    net = ne.compile(spec, backend="numba")
    grads, evidence = ne.EqProp(beta=0.1).gradient(net, x, y)

The public names stand in ``__init__.pyi``.  Each is loaded when it is first used, so that ``neuro_eq --help`` answers
at once.
"""

from pathlib import Path

import lazy_loader

__version__ = "0.1.0"  # setup.cfg says the same; a test compares them

# Python run from a checkout's root finds this folder before the installed package, and the outer folders lie beside
# it, not in it.  The installed layout has them inside, and then this adds nothing.
_root = Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "backends" / "__init__.py").is_file():
    __path__.append(str(_root))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
