"""The click: POST /api/v1/messages beside what people would write instead."""

from bench.options import Options
from bench.results import Part


def run(options: Options) -> Part:
    from bench.click.contest import run as contest

    return contest(options)
