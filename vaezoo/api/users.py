"""What users call. ``vaezoo.NAME`` is the public spelling of each."""

from vaezoo.model.model import Model as Model
from vaezoo.pretrained.features import load_features as load_features
from vaezoo.pretrained.loading import load as load
from vaezoo.runs.comparison.frame import compare as compare
from vaezoo.runs.opening import open_run as open_run
from vaezoo.runs.run import Run as Run
from vaezoo.runs.start import resume as resume
from vaezoo.runs.start import run as run
from vaezoo.spec.composer import compose as compose
from vaezoo.spec.load import load_spec as load_spec
from vaezoo.spec.register import register as register
from vaezoo.spec.spec import Spec as Spec
from vaezoo.utils.errors import DataError as DataError
from vaezoo.utils.errors import IntegrityError as IntegrityError
from vaezoo.utils.errors import PluginError as PluginError
from vaezoo.utils.errors import RegistryError as RegistryError
from vaezoo.utils.errors import SpecError as SpecError
from vaezoo.utils.errors import UnavailableError as UnavailableError
from vaezoo.utils.errors import VaezooError as VaezooError
