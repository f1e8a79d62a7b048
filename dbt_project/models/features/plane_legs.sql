select
    tailnum,
    landed_at,
    flight_id,
    origin,
    dest,
    departed_at,
    cast(dep_delay as integer) as dep_delay,
    cast(arr_delay as integer) as arr_delay,
    arr_delay >= 15 as was_late,
    cast(air_time as double precision) as air_time,
    cast(distance as bigint) as distance
from {{ ref('stg_landed_flights') }}
where tailnum is not null
