from . import activations as activations
from . import costs as costs
from . import datasets as datasets
from . import models as models
from . import synapses as synapses
from .compiler import compile as compile  # noqa: A004
from .engine import Ability as Ability
from .engine import Engine as Engine
from .equilibrium import Equilibrium as Equilibrium
from .equilibrium import Status as Status
from .errors import BackendError as BackendError
from .errors import DataError as DataError
from .errors import FileError as FileError
from .errors import NeuroEqError as NeuroEqError
from .errors import SpecError as SpecError
from .errors import TrainingError as TrainingError
from .methods import AsymEP as AsymEP
from .methods import EqProp as EqProp
from .methods import Evidence as Evidence
from .methods import ImplicitDifferentiation as ImplicitDifferentiation
from .optimizers import SGD as SGD
from .optimizers import Adam as Adam
from .solvers import Anderson as Anderson
from .solvers import BlockGaussSeidel as BlockGaussSeidel
from .solvers import Picard as Picard
from .solvers import Relaxation as Relaxation
from .spec import Network as Network
from .spec import Population as Population
from .specfile import load as load
from .specfile import save as save
from .synapses import Bias as Bias
from .synapses import Dense as Dense
from .synapses import DirectedDense as DirectedDense
from .training import train as train
from .trajectory import Recorder as Recorder
from .trajectory import open_trajectory as open_trajectory

__version__: str
