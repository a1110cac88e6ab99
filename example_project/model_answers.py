"""The texts that the demo's model server answers with, picked by the words of the prompt."""

from __future__ import annotations

import re

PREFACE = """\
*I am a canned model: a small server on this machine that types prepared texts. Set \
`OPENAI_API_KEY` to talk to a real one.*

"""
ANSWERS = {
    "resume reload reconnect offset lost refresh": """\
## What happens when you reload

Try it: reload this page while I am still writing. You will see everything so far at once, and \
then the rest as it comes. No word is missing and none appears twice.

The worker does not talk to your browser. It appends what I say to a log, and each piece has \
a position there:

```python
(attempt, seq, nonce)   # the producer's run, the chunk's number, and proof that it is that run
```

The page remembers the position of the last piece that it showed. When it comes back it asks for \
what follows, and gets exactly that:

1. **What is already in the log** arrives in one go, however much it is.
2. **What I have yet to say** follows live, over the same connection.
3. **The end** is an event of its own, so the page knows that nothing is missing.

A second tab, or a colleague's phone, reads the same log from the start, without asking me again.

And should the worker die and the task run anew, the numbers belong to a new attempt. The page is \
told to begin again, rather than being handed the second half of a different text.
""",
    "python generator code function yield": """\
## A generator is all it takes

A function that yields hands out its values one at a time, and does nothing in between until \
somebody asks for the next one. That suits a language model, which produces its text in just \
this way:

```python
@stream_task(queue="llm")
def answer(prompt: str):
    client = OpenAI()
    with client.responses.create(model="gpt-5", input=prompt, stream=True) as events:
        yield from events
```

The decorator makes it a Celery task. Call `answer.stream("Hello")` in a view and you have the \
stream's id at once, long before the first word exists. Some things to know:

- **Every chunk** you yield goes out as it is: an SDK event, a dictionary or a plain string.
- **`finally` and `with` work.** When the reader presses stop, the generator is closed, and the \
connection to the model with it.
- **Return a value** and it becomes the task's result, beside the stream.
- **Raise an error** and the readers are told that the stream failed; the details stay with you.

There is no callback to register and no connection for your web process to hold. You write the \
loop that you would have written anyway, and it runs where slow things belong: in a worker.
""",
    "recipe cook dinner bread food eat": """\
## Bread for people with other things to do

It takes five minutes of work and a night of waiting. Good software and good bread have in common \
that the slow part should happen in the background.

You need:

- 500 g of strong flour
- 10 g of salt
- 2 g of dry yeast, about half a teaspoon
- 375 g of cool water

Then:

1. **Evening.** Stir everything together until no dry flour is left. Cover the bowl and go to bed.
2. **Morning.** Fold the dough over itself a few times with wet hands. Shape it loosely into a ball.
3. **An hour later.** Heat the oven to 240 °C with a lidded pot in it.
4. **Bake** for 30 minutes with the lid on, and 15 without, until it is darker than you dare.

If you prefer to read it as a program:

```python
dough = mix(flour, salt, yeast, water)
sleep(hours=12)
loaf = bake(fold(dough), celsius=240, minutes=45)
```

Let it cool before you cut it. The crust will crackle for a while as it does, which is how the \
bread says that it has ended properly. Nobody has ever waited long enough, and it has never \
mattered: the first slice, too warm, with butter, is the best one.
""",
    "": """\
## How this answer reached you

You pressed *send*, and the web server replied within milliseconds. It did not wait for me; all it \
returned was the name of a stream. What you are reading came by another way:

1. **The view** put a task into the queue and was done:

   ```python
   stream = answer.stream(request.form["prompt"])
   return jsonify(stream.ref())
   ```

2. **A Celery worker** picked the task up. It runs a plain generator with the real `openai` \
client, which is connected to me.
3. **The relay** keeps each piece that the worker forwards in a log in Redis, and hands it to \
whoever reads the stream.
4. **Your browser** reads from the relay. The web server takes no part in that, and holds no \
connection open.

So a few things work that usually do not:

- **Reload the page** in the middle of a sentence. The text so far is back at once and the rest \
follows, with nothing missing and nothing twice.
- **Open a second tab.** It reads the same stream, and I am not asked again.
- **Press stop.** The worker closes its connection, and I fall silent instead of typing for nobody.

Ask me about *python*, a *recipe*, or what happens on a *reload*: those are the other texts I know.
""",
}


def choose_answer(prompt: str) -> str:
    """The text whose keywords the prompt has most of; the one about the demo when it has none."""
    words = set(re.findall(r"\w+", prompt.lower()))
    best = max(ANSWERS, key=lambda keywords: (len(words & set(keywords.split())), not keywords))
    return PREFACE + ANSWERS[best]
