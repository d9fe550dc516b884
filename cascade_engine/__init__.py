__version__ = "0.1.0"

# The public names load on first use, so that `import cascade_engine` stays instant and never pulls in torch.
_HOME = {
    "InputError": "status", "STATUS": "status",
    "Sequences": "sequences", "as_sequences": "sequences", "read_sequences": "sequences", "write_table": "sequences",
    "FeatureEncoder": "features",
    "TransitionMatrix": "matrix",
    "Conventions": "terms", "cashflows": "amortization", "present_value": "amortization", "reconcile": "amortization",
    "Scenario": "scenarios", "Overlay": "scenarios", "MacroInput": "scenarios", "baseline": "scenarios", "half_severe": "scenarios", "severely_adverse": "scenarios",
    "shock": "scenarios", "ramp": "scenarios",
    "LSTMCascadeGenerator": "generator",
    "validate_sequences": "validation", "like": "validation", "Exits": "exits", "months_watched": "exits", "validation_report": "report",
    "simulate_bank": "portfolio",
    "forecast": "forecasts", "stress_test": "stress",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME: raise AttributeError(f"module 'cascade_engine' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"cascade_engine.{_HOME[name]}"), name)


def __dir__(): return sorted({*globals(), *_HOME})
