# Runs the model on the windows of a shard of a track set, and writes one row for each base.
rule score_tracks:
    input:
        tiles="<results>/{track_set}/{scoring}/tiles",
        checkpoint=lookup("{scoring}", within=inputs.checkpoint),
        fetched=collect(
            "<results>/{file}", file=lookup("{scoring}", within=inputs.hub_files)
        ),
    output:
        scores="<results>/{track_set}/{scoring}/track_scores/{scatteritem}.parquet",
        run="<results>/{track_set}/{scoring}/track_scores/{scatteritem}.json",
    log:
        "<logs>/score_tracks/{track_set}/{scoring}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/score_tracks/{track_set}/{scoring}/{scatteritem}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        gpu=jobs.gpu,
        mem_mb=jobs.tracks_mem_mb,
        runtime=jobs.tracks_runtime,
    params:
        config=jobs.config,
        settings=lookup("{scoring}", within=settings.tracks.score_tracks),
    message:
        "Scoring tracks: {wildcards.track_set}, {wildcards.scoring}, {wildcards.scatteritem}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks score-tracks --config - --log {log:q}"
        " --scoring {wildcards.scoring:q} --threads {threads}"
        " --tiles {input.tiles:q}/{wildcards.scatteritem:q}.parquet"
        " --segments {input.tiles:q}/{wildcards.scatteritem:q}.segments.parquet"
        " --out {output.scores:q}"
