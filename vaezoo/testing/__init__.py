"""Checks for the tests of plugin authors: the promises of components, and the contracts of specs.

Example:
    import pytest

    from vaezoo import testing


    @pytest.mark.parametrize("promise", testing.promises("vaezoo-cosine"), ids=str)
    def test_promise(promise):
        promise.check()
"""

from vaezoo.testing.examples import EXAMPLES as EXAMPLES
from vaezoo.testing.listing import check_component as check_component
from vaezoo.testing.listing import check_plugin as check_plugin
from vaezoo.testing.listing import promises as promises
from vaezoo.testing.promise import Promise as Promise
from vaezoo.testing.setting import Setting as Setting
from vaezoo.testing.spec_contracts import check_spec as check_spec
