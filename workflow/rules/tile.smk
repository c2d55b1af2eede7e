# Reads the regions of a track set, and finds the windows that their bases are read from.
rule tile:
    input:
        regions=lookup("{track_set}", within=inputs.tracks.regions),
        reference=lookup("{track_set}", within=inputs.tracks.reference),
    output:
        # A folder, as for `split`.
        tiles=directory("<results>/{track_set}/{scoring}/tiles"),
    log:
        "<logs>/tile/{track_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/tile/{track_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{track_set}/{scoring}", within=settings.tracks.tile),
    message:
        "Placing the windows of tracks: {wildcards.track_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks tile --config - --log {log:q}"
        " --track-set {wildcards.track_set:q} --scoring {wildcards.scoring:q}"
        " --out {output.tiles:q}"
