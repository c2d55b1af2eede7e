# Writes the HTML report of a variant set: settings, results, evaluation.
rule report:
    input:
        files=collect(
            "<results>/{file}", file=lookup("{variant_set}", within=inputs.report)
        ),
        calibration_files=lookup("{variant_set}", within=inputs.report_files),
        reference=lookup("{variant_set}", within=inputs.drawn_bases),
    output:
        page=report(
            "<results>/{variant_set}/report.html",
            caption="../report/report.rst",
            category="{variant_set}",
            labels={"scoring": "all", "file": "report"},
        ),
    log:
        "<logs>/report/{variant_set}.log",
    benchmark:
        "<benchmarks>/report/{variant_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}", within=settings.report),
        folder=subpath(output.page, parent=True),
    message:
        "Writing the report of {wildcards.variant_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks report --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --results {params.folder:q}"
        " --out {output.page:q}"
