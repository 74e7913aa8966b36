"""Modules of tests are imported by every worker of a run, so importing them costs little."""


def test_importing_the_tests_compiles_next_to_nothing(compilations_at_import):
    assert len(compilations_at_import) <= 50, "move what is compiled into a fixture or a function"
