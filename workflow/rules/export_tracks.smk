# Writes tracks as bigWig. Its environment has one package more than that of the other steps, like that of
# `export_bigwig`.
rule export_tracks:
    input:
        table="<results>/{track_set}/{scoring}/tracks.parquet",
        # The command reads here how long the contigs are.
        run="<results>/{track_set}/{scoring}/tracks.json",
    output:
        logp_ref="<results>/{track_set}/{scoring}/tracks.logp_ref.bw",
        logp_ref_stanza="<results>/{track_set}/{scoring}/tracks.logp_ref.trackDb.txt",
        logp_ref_session="<results>/{track_set}/{scoring}/tracks.logp_ref.igv.xml",
        entropy="<results>/{track_set}/{scoring}/tracks.entropy.bw",
        entropy_stanza="<results>/{track_set}/{scoring}/tracks.entropy.trackDb.txt",
        entropy_session="<results>/{track_set}/{scoring}/tracks.entropy.igv.xml",
    log:
        "<logs>/export_tracks/{track_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/export_tracks/{track_set}/{scoring}.tsv"
    conda:
        "../../envs/tracks.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        folder=subpath(output.logp_ref, parent=True),
    message:
        "Exporting tracks: {wildcards.track_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks export-tracks --log {log:q} --out {params.folder:q} -- {input.table:q}"
