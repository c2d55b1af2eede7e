# Combines the shards of a track set into one table with a row for each base of its regions.
rule merge_tracks:
    input:
        tiles="<results>/{track_set}/{scoring}/tiles",
        scores=gather.shard(
            "<results>/{{track_set}}/{{scoring}}/track_scores/{scatteritem}.parquet"
        ),
        runs=gather.shard(
            "<results>/{{track_set}}/{{scoring}}/track_scores/{scatteritem}.json"
        ),
    output:
        table="<results>/{track_set}/{scoring}/tracks.parquet",
        run="<results>/{track_set}/{scoring}/tracks.json",
    log:
        "<logs>/merge_tracks/{track_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/merge_tracks/{track_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{track_set}/{scoring}", within=settings.tracks.merge_tracks),
        folder=subpath(output.table, parent=True),
    message:
        "Merging tracks: {wildcards.track_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-tracks --config - --log {log:q}"
        " --track-set {wildcards.track_set:q} --scoring {wildcards.scoring:q}"
        # The folder, not its files: a command line cannot hold the paths of a thousand shards.
        " --tiles {input.tiles:q} --scores {params.folder:q}/track_scores"
        " --out {output.table:q} --run-json {output.run:q}"
