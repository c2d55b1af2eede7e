# Makes the index of an exported VCF. It is not an output of `export`: the index would be older than the
# VCF, whose time Snakemake sets when the job has ended. Nor can it be an output here, because its kind
# is not known before, and a VCF that is not sorted has none: the file `.index` states its name. Only if
# that index is lost, it is asked for as `.tbi` or `.csi`.
rule index:
    input:
        vcf="<results>/{variant_set}/{scoring}/{export}",
    output:
        index="<results>/{variant_set}/{scoring}/{export}.{index}",
    log:
        "<logs>/index/{variant_set}/{scoring}/{export}.{index}.log",
    benchmark:
        "<benchmarks>/index/{variant_set}/{scoring}/{export}.{index}.tsv"
    wildcard_constraints:
        index="index|tbi|csi",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    message:
        "Indexing {wildcards.export}: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks index --log {log:q} --out {output.index:q} -- {input.vcf:q}"
