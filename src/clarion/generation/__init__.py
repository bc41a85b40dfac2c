"""Generated text: written once, detached from its viewers, and told to everybody as the value of a topic.

`Hub.generate` and `Hub.generation` begin one. Producers write what a vendor's stream says; `Hub.generation_stream`
tells a generation in the format of an existing front end.
"""

from clarion.generation.errors import GenerationRunning, IncompleteStream
from clarion.generation.options import GenerationOptions, Produce, Started
from clarion.generation.producers.anthropic import anthropic_producer
from clarion.generation.producers.openai import openai_producer
from clarion.generation.producers.text import text_producer
from clarion.generation.writer import GenerationWriter, Part, ToolCallWriter

__all__ = [
    "GenerationOptions",
    "GenerationRunning",
    "GenerationWriter",
    "IncompleteStream",
    "Part",
    "Produce",
    "Started",
    "ToolCallWriter",
    "anthropic_producer",
    "openai_producer",
    "text_producer",
]
