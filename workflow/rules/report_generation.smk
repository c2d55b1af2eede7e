# Writes the HTML report of a generation: composition, copies, scores and the search.
rule report_generation:
    input:
        prompts="<results>/generations/{generation}/prompts.parquet",
        table="<results>/generations/{generation}/sequences.parquet",
        steps="<results>/generations/{generation}/steps.parquet",
        run="<results>/generations/{generation}/generation.json",
    output:
        page=report(
            "<results>/generations/{generation}/report.html",
            caption="../report/generation.rst",
            category="{generation}",
            labels={"scoring": "all", "file": "report"},
        ),
    log:
        "<logs>/report_generation/{generation}.log",
    benchmark:
        "<benchmarks>/report_generation/{generation}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{generation}", within=settings.generations.report_generation),
        folder=subpath(output.page, parent=True),
    message:
        "Writing the report of {wildcards.generation}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks report-generation --config - --log {log:q}"
        " --generation {wildcards.generation:q} --results {params.folder:q}"
        " --out {output.page:q}"
