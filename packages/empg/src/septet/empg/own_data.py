"""Problems of a user's table: a file of rows, and a prompt made of each."""

from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from septet.empg.config import Dataset
from septet.empg.problems import Problem, Questions, split
from septet.empg.rows import prompt_of, read_rows
from septet.errors import InputError
from septet.files import sha256


def questions(task: Dataset, root_seed: int) -> Questions:
    """The problems of a task's files; without a test file, rows drawn by the root seed are held out.

    Raises:
        InputError: a file or a row of it does not fit, or too few rows are left for the training.
    """
    train, names = _problems(task, Path(task.train)), [task.train]
    if task.test is not None:
        test, names = _problems(task, Path(task.test)), [task.train, task.test]
    else:
        if len(train) <= task.held_out:
            expected = f"more than {task.held_out} rows, which are held out for the test (held_out)"
            raise InputError(task.train, expected=expected, found=len(train))
        parts = split(train, task.held_out, root_seed, "dataset")
        train, test = parts.train, parts.test
    digests = " and ".join(f"{Path(name).name} {sha256(Path(name))[:12]}" for name in names)
    return Questions(train, test, f"{digests}: {len(train)} / {len(test)}")


def _problems(task: Dataset, file: Path) -> list[Problem]:
    # A prompt is text for a model and no HTML, so nothing is escaped.
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    try:
        template = environment.from_string(task.prompt)
    except TemplateError as error:
        raise InputError("task.prompt", expected="a Jinja template", found=str(error)) from None
    whole = task.prompt.replace(" ", "") == "{{prompt}}"
    before = [] if task.system is None else [{"role": "system", "content": task.system}]
    problems = []
    for number, row in enumerate(read_rows(file), 1):
        where = f"{file}: row {number}: prompt"
        value: Any = row.get("prompt") if whole else None
        if not isinstance(value, list):
            try:
                value = template.render(row)
            except (TemplateError, TypeError, ValueError) as error:
                raise InputError(where, expected=f"columns for {task.prompt}", found=str(error)) from None
        prompt, answer = prompt_of(value, where), str(row.get("answer", ""))
        if isinstance(prompt, str) and not task.chat:
            problems.append(Problem(prompt, answer, row=row))
            continue
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        problems.append(Problem("", answer, chat=(*before, *turns), row=row))
    return problems
