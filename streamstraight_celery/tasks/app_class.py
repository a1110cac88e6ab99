"""The app's own task class (`task_cls`), which stream tasks are of too."""

from __future__ import annotations

from typing import Any

try:
    # A custom base class would take delay_on_commit() away from Django's users.
    from celery.contrib.django.task import DjangoTask
except ImportError:
    from celery import Task as DjangoTask

# Celery has no types, and a type checker's guesses at them are wrong.
BaseTask: Any = DjangoTask


class WithAppTask(type):
    """Makes the tasks of an app subclasses of its `task_cls` too, which `base=` would pass over."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> WithAppTask:
        app = namespace.get("app")
        if app is not None and (own := app.Task) not in bases:
            # Celery's own classes are bases already; what its app derives from them comes first.
            news = [each for each in own.__mro__[1:] if not issubclass(bases[0], each)]
            if news:
                bases = (own,) if issubclass(own, bases[0]) else (*bases, own)
        return super().__new__(mcs, name, bases, namespace, **kwargs)
