{#
  The engine's name of the 64-bit floating-point type.

    cast(arr_delay as {{ featurelayer._double() }})

  `dbt.type_float()` does not work here: on DuckDB it has 32 bits.
#}
{% macro _double() %}
    {{ return(adapter.dispatch('_double', 'featurelayer')()) }}
{% endmacro %}

{% macro default___double() %}{{ return('double precision') }}{% endmacro %}
{% macro bigquery___double() %}{{ return('float64') }}{% endmacro %}
{% macro spark___double() %}{{ return('double') }}{% endmacro %}
{% macro trino___double() %}{{ return('double') }}{% endmacro %}
{% macro clickhouse___double() %}{{ return('Nullable(Float64)') }}{% endmacro %}
