"""Other people's validators against our documents: `check.py openapi|asyncapi|schema < DOCUMENT`, and
`check.py compose docker-compose.yml`.

Prints nothing and exits 0 if the document is valid; else says why and exits 1.
"""

import json
import pathlib
import re
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


def compose(path):
    """By the schema of the Compose Specification; then what a schema can't know: what is named is there."""
    import yaml
    from check_jsonschema.builtin_schemas import get_builtin_schema

    validator = Draft202012Validator(get_builtin_schema("vendor.compose-spec"))
    example = pathlib.Path(path).parent / ".env.example"
    variables = set(re.findall(r"^(\w+)=", example.read_text(), re.M))
    files, whole, faults, ports = [pathlib.Path(path)], {}, [], {}
    for file in files:
        text = file.read_text()
        document = yaml.safe_load(text)
        faults += [f"{file}: {fault.json_path}: {fault.message}" for fault in validator.iter_errors(document)]
        files += [file.parent / included for included in document.get("include", [])]
        # `$$` is a dollar sign of its own.
        for name in set(re.findall(r"(?<!\$)\$\{(\w+)", text)) - variables:
            faults.append(f"{file}: {name} is not in {example.name}")
        for service, described in document["services"].items():
            if service in whole:
                faults.append(f"{file}: {service} is there twice")
            whole[service] = described
            for port in described.get("ports", []):
                published = port.rsplit(":", 1)[0]
                if published in ports:
                    faults.append(f"{file}: {service} publishes {published}, as {ports[published]} does")
                ports[published] = service
            faults += [f"{file}: {service}: {fault}" for fault in services_own(file, document, described)]
    for service, described in whole.items():
        profiles = set(described.get("profiles", []))
        for other in described.get("depends_on", []):
            if other not in whole:
                faults.append(f"{service} depends on {other}, which is nowhere")
            elif not set(whole[other].get("profiles", [])) <= profiles:
                faults.append(f"{service} depends on {other}, which its profile does not start")
    if faults:
        raise ValueError("\n".join(faults))


def services_own(file, document, service):
    """What one service names of its file and of the folder."""
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            if not (file.parent / source).exists():
                yield f"{source} is not there"
        elif source not in document.get("volumes", {}):
            yield f"volume {source} is not declared"
    for secret in service.get("secrets", []):
        if secret not in document.get("secrets", {}):
            yield f"secret {secret} is not declared"


def main():
    kind = sys.argv[1]
    if kind == "compose":
        try:
            compose(sys.argv[2])
        except Exception as fault:
            sys.exit(f"{kind}: {fault}")
        return
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
