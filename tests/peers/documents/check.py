"""Other people's validators against our documents: `check.py openapi|asyncapi|schema < DOCUMENT`.

Prints nothing and exits 0 if the document is valid; else says why and exits 1.
"""

import json
import sys

from jsonschema import Draft202012Validator


def openapi(document):
    from openapi_spec_validator import OpenAPIV31SpecValidator

    OpenAPIV31SpecValidator(document).validate()
    schemas(document)


def asyncapi(document):
    from asyncapi3.models import AsyncAPI3

    # A strict model: what the specification does not know is refused.
    AsyncAPI3.model_validate(document)
    schemas(document)


def schemas(document):
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def main():
    kind = sys.argv[1]
    document = json.load(sys.stdin)
    checks = {
        "openapi": openapi,
        "asyncapi": asyncapi,
        "schema": Draft202012Validator.check_schema,
    }
    try:
        checks[kind](document)
    except Exception as fault:  # whatever a validator raises is its verdict
        sys.exit(f"{kind}: {fault}")


main()
