# Writes the HTML report of a track set: its regions, with sequence logos of the first ones.
rule report_tracks:
    input:
        files=collect(
            "<results>/{file}",
            file=lookup("{track_set}", within=inputs.tracks.reported),
        ),
    output:
        page=report(
            "<results>/{track_set}/report.html",
            caption="../report/tracks.rst",
            category="{track_set}",
            labels={"scoring": "all", "file": "report"},
        ),
    log:
        "<logs>/report_tracks/{track_set}.log",
    benchmark:
        "<benchmarks>/report_tracks/{track_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{track_set}", within=settings.tracks.report_tracks),
        folder=subpath(output.page, parent=True),
    message:
        "Writing the report of {wildcards.track_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks report-tracks --config - --log {log:q}"
        " --track-set {wildcards.track_set:q} --results {params.folder:q}"
        " --out {output.page:q}"
