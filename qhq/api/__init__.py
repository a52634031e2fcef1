"""The public face: the verbs of qhq as plain calls. Everything that the command line does is one of them.

    training    train -> Run; forecast_training: what it would cost
    run         open_run -> Run
    comparison  compare: runs side by side
    evaluation  Run.evaluate -> Evaluation: one checkpoint on several backends
    prediction  Run.predict -> a DataFrame: the sessions after the last row, with intervals
    landscape   Run.landscape: the loss around the trained weights
    report      report: one page of runs and studies
    study       ablate, sweep, Run.noise -> StudyResult: many measurements for one question
    parts       load_ansatz, load_panel; diagnose
    given       what is given (configs, changes, circuits in memory) as the packages below take it

`qhq` has the names at its root and loads a file of this package only when one is asked for; the command line
calls the same functions and renders what they give. Keywords are the options of the command line, ``set`` is
a mapping. Errors are `qhq.errors.QHQError` with their three parts, and name options as a shell has them.

Torch, Qiskit and pandas are imported where they are needed: a command that reaches devices does so while they
load, and one that only reads run folders never waits for them.
"""
