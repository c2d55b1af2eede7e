# Combines the scores of whole windows of all shards into one table. Only scorings with `audit` need it.
rule merge_audit:
    input:
        windows=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/windows/{scatteritem}.parquet"
        ),
        scores=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/scores/{scatteritem}.json"
        ),
        readouts=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/readouts/{scatteritem}"
        ),
        audited="<results>/{variant_set}/{scoring}/audit",
        shards="<results>/{variant_set}/shards",
    output:
        table="<results>/{variant_set}/{scoring}/audit.parquet",
        run="<results>/{variant_set}/{scoring}/audit.json",
    log:
        "<logs>/merge_audit/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/merge_audit/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.merge_audit),
        folder=subpath(output.table, parent=True),
    message:
        "Merging the audit: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-audit --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --split {input.shards:q}/split.json"
        " --windows {params.folder:q}/windows --audited {input.audited:q}"
        " --scores {params.folder:q}/scores --readouts {params.folder:q}/readouts"
        " --out {output.table:q} --run-json {output.run:q}"
