# Chooses the alleles that are scored with whole windows too, and writes these windows for each shard. It
# needs the windows of all shards: the choice must not depend on their number. Only scorings with
# `audit` need it.
rule audit:
    input:
        windows=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/windows/{scatteritem}.parquet"
        ),
        shards="<results>/{variant_set}/shards",
        reference=lookup("{variant_set}", within=inputs.reference),
    output:
        # A folder, as for `split`.
        windows=directory("<results>/{variant_set}/{scoring}/audit"),
    log:
        "<logs>/audit/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/audit/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.audit),
        folder=subpath(output.windows, parent=True),
    message:
        "Choosing alleles to audit: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks audit --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --split {input.shards:q}/split.json"
        # The folder, not its files: a command line cannot hold the paths of a thousand shards.
        " --windows {params.folder:q}/windows --out {output.windows:q}"
